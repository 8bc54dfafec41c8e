"""Reference vectors: trajectories of every algorithm in every convention, exact to 69 bits. See README.md."""

from .exact import Exact
from .runner import Case, Step, available, distance, largest_distance, load

__all__ = ["Case", "Exact", "Step", "available", "distance", "largest_distance", "load"]
