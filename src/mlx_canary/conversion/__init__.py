"""From a NeMo checkpoint to a model of ours."""
