"""The pages that signed-in staff see."""
