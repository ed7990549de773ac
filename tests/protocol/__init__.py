"""A model of the commit protocol that is searched exhaustively; nothing here touches a real table."""
