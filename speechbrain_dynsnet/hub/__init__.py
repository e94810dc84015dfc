"""Publishing a model: its card, made from what was measured, and the way to the Hugging Face Hub."""
