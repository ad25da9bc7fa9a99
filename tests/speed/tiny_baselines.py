"""Baselines with every part, none of them large."""

from yoso.speed.baselines import Baseline

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]}
DECODER = {"d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 32}
TINY = {
    "maskformer": Baseline(
        "MaskFormer",
        0,
        {
            "fpn_feature_size": 32,
            "mask_feature_size": 32,
            "decoder_config": {"model_type": "detr", "num_queries": 20, **DECODER},
        },
        RESNET,
    ),
    "mask2former": Baseline(
        "Mask2Former",
        0,
        {
            "feature_size": 32,
            "mask_feature_size": 32,
            "hidden_dim": 32,
            "encoder_feedforward_dim": 32,
            "dim_feedforward": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "num_attention_heads": 2,
            "num_queries": 20,
        },
        RESNET,
    ),
    "eomt-s": Baseline(
        "Eomt",
        0,
        {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "num_blocks": 1, "num_queries": 20},
    ),
}
