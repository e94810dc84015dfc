"""Measuring: what each exit costs and what it gives."""
