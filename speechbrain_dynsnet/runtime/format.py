"""The words in the metadata of an exported file: what its writer and its readers agree on."""

FORMAT_VERSION = 2
FP32, INT8 = "fp32", "int8"  # precision
ANY = "any"  # frames and channels a call, when the file leaves them open
FEATURES, WAVEFORM = "features", "waveform"  # signal
