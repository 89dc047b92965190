"""Texts: the encoding of characters, texts in CSV files, and texts that are streamed."""
