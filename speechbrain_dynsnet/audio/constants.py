"""The STFT and rate that every model of this project works at."""

SAMPLE_RATE = 16000  # Hz
WINDOW = 512  # samples: 32 ms
HOP = 256  # samples: 16 ms
HOP_S = HOP / SAMPLE_RATE
BINS = WINDOW // 2 + 1  # 0 to 8 kHz, 31.25 Hz apart
PAPER_FRAMES_PER_SECOND = 63  # 62.5 hops, and the one more frame that centred padding gives
POWER_FLOOR = 1e-8  # inside the logarithm of the features: log(|X|^2 + 1e-8)
