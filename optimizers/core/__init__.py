"""What every optimizer is."""
