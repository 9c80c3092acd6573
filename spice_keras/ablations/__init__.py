"""The paper's ablation tables: their rows, running them, and the tables of results."""
