"""Texts: encoding of characters, texts in CSV files, and streamed texts."""
