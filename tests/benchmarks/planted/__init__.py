"""Trainings with a planted shortcut: tasks, cues, runs and their truth, and the detectors that are measured on them."""
