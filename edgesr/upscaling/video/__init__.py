"""Videos: decoded, upscaled frame by frame and encoded, with all else copied."""
