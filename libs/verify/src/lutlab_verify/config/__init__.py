"""`lutlab.yaml`: its model, how it is read, and what is said when it is wrong."""
