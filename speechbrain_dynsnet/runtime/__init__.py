"""Running an exported model with numpy and onnxruntime, without torch."""
