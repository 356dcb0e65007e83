"""From a file to columns: bytes, text, rows of cells, and what each column holds."""
