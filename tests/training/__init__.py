"""Tests of training: data made for it, its steps, whole short runs."""
