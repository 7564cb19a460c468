//! OpenAPI schemas of types that serialise as text.

/// Declares that a type's JSON is a string.
macro_rules! text_schema {
    ($($type:ty => $name:literal),+ $(,)?) => {
        $(
            impl utoipa::PartialSchema for $type {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                    utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String).into()
                }
            }

            impl utoipa::ToSchema for $type {
                fn name() -> std::borrow::Cow<'static, str> {
                    $name.into()
                }
            }
        )+
    };
}

text_schema!(
    crate::id::ContainerId => "ContainerId",
    crate::id::TaskId => "TaskId",
    crate::id::UserId => "UserId",
    crate::id::ExecId => "ExecId",
    crate::id::ContainerName => "Name",
    crate::id::Digest => "Digest",
    crate::id::TemplateRef => "TemplateRef",
    crate::firewall::Rule => "FirewallRule",
    crate::network::Addressing => "Addressing",
    crate::network::Cidr => "Cidr",
    crate::time::Timestamp => "Timestamp",
);
