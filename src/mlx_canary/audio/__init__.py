"""Sound in: recordings to samples, samples to features."""
