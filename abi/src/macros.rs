//! The macro that declares the structures of the kernel's interface.

/// Declares a C structure: its fields are public and named as in C, padding is spelled out, and it converts
/// from and to bytes without copying field by field.
macro_rules! c_struct {
    ($(#[$meta:meta])* pub struct $name:ident { $(pub $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            zerocopy::FromBytes,
            zerocopy::IntoBytes,
            zerocopy::Immutable,
            zerocopy::KnownLayout,
        )]
        #[repr(C)]
        #[expect(missing_docs, reason = "the fields are those of the C structure")]
        pub struct $name {
            $(pub $field: $kind,)*
        }
    };
}
