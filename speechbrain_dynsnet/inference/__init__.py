"""Denoise with a trained model: batches, recordings, files."""

from speechbrain_dynsnet.inference.enhance import EnhanceDynamic

__all__ = ["EnhanceDynamic"]
