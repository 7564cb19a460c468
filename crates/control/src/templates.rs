//! Templates: being written.
use std::path::PathBuf;
use std::sync::Arc;
use model::TemplateRef;
use model::template::LocalTemplate;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::store::Facts;
use crate::tasks::{Context, Tasks};
/// Templates.
#[derive(Debug)]
pub struct Templates { facts: Facts }
impl Templates {
    /// New.
    ///
    /// # Errors
    /// None yet.
    pub fn new(facts: Facts, _: Arc<dyn Engine>, _: Arc<Tasks>, _: Arc<Events>, _: Clock, _: PathBuf) -> Result<Arc<Self>> { Ok(Arc::new(Self { facts })) }
    pub(crate) async fn ensure(&self, _: &Context, reference: &TemplateRef) -> Result<LocalTemplate> { self.facts.get::<LocalTemplate>(&format!("tpl/{reference}")).await?.map(|fact| fact.value).ok_or_else(|| Error::not_found("template", reference)) }
}
