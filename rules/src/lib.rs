//! Rule packs shipped with Tripline.
