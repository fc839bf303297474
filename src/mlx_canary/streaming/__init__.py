"""Sound that is still being spoken: blocks of samples in, text out while it goes on."""
