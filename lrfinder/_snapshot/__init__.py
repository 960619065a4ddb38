"""Capture and restore of everything that a sweep may change."""
