"""`dgchat bench`: how fast a model answers here, with whatever engine; knows no tensor."""
