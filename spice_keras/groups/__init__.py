"""How many groups there are, and how clusters join into larger ones."""
