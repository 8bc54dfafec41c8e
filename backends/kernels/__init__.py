"""Kernels: programs compiled into passes over memory, and the code that is kept between processes."""
