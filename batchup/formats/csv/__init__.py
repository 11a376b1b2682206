"""CSV files: rows of numbers and texts, below the names of their columns."""
