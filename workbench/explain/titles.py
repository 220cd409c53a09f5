"""What each method is called in print; known without torch."""

TITLES = {
    "gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "hirescam": "HiResCAM", "layercam": "LayerCAM", "eigencam": "Eigen-CAM",
    "scorecam": "Score-CAM", "rollout": "Attention rollout", "saliency": "Saliency", "input-x-gradient": "Input × gradient",
    "smoothgrad": "SmoothGrad", "integrated-gradients": "Integrated gradients", "guided-backprop": "Guided backprop",
    "shap": "SHAP", "partition-shap": "Partition SHAP", "region-shap": "Region SHAP", "occlusion": "Occlusion", "rise": "RISE",
}  # fmt: skip


def method_title(name: str) -> str:
    """Return what a method is called in print; a registered one by its own name."""
    return TITLES.get(name, name)
