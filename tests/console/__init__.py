"""Tests of the console: physics, exactness, gradients."""
