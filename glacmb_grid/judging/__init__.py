"""The stages that fit and evaluate models, from climate cubes or a user's own table alike."""
