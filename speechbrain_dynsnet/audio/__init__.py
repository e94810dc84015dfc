"""Audio without torch: constants of the STFT, files, resampling."""
