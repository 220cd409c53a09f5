"""What is clicked in JupyterLab; no arithmetic of its own."""
