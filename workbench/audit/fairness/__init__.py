"""Side questions about groups: criteria, two models, power, curves over an attribute."""
