//! How a refusal is written and read.

use server_fn::{Bytes, ContentType, Decodes, Encodes, Format, FormatType};

use crate::api::ApiError;
use crate::json::{self, Wrong};

/// As JSON.
#[derive(Debug)]
pub struct Refusal;

impl ContentType for Refusal {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl FormatType for Refusal {
    const FORMAT_TYPE: Format = Format::Text;
}

impl Encodes<ApiError> for Refusal {
    type Error = serde_json::Error;

    fn encode(error: &ApiError) -> Result<Bytes, serde_json::Error> {
        serde_json::to_value(error).map(|error| json::write(&error).into())
    }
}

impl Decodes<ApiError> for Refusal {
    type Error = Wrong;

    fn decode(bytes: Bytes) -> Result<ApiError, Wrong> {
        json::read(&String::from_utf8_lossy(&bytes))
    }
}
