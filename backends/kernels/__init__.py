"""Kernels: recorded rules compiled into passes over memory, and their code, which is kept between processes."""
