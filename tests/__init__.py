"""Tests of headrace and its shells; the folders mirror what they test."""
