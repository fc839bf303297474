"""How well and how fast a model works: recordings with known texts in, scores out; a model in, timings out."""
