"""PyTorch: its tensors as arrays, how its memory is shared, and its threads, processes and compiler."""
