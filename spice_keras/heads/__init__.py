"""Stage 2, self-labelling: clustering heads on features, and the choice of one."""
