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

use crate::caller::Caller;
use model::template::{NewSource, Source, Template};
use model::task::Task;
/// Filter.
#[derive(Clone, Debug, Default)]
pub struct TemplateFilter { pub remote: bool, pub source: Option<String>, pub search: Option<String>, pub unusable: bool }
macro_rules! later { () => { Err(Error::failed("not yet")) } }
impl Templates {
    pub async fn sources(&self, _: &Caller) -> Result<Vec<Source>> { Ok(Vec::new()) }
    pub async fn add_source(&self, _: &Caller, _: NewSource) -> Result<Source> { later!() }
    pub async fn remove_source(&self, _: &Caller, _: &str) -> Result<()> { later!() }
    pub async fn refresh(&self, _: &Caller, _: Option<&str>) -> Result<Task> { later!() }
    pub async fn list(&self, _: &Caller, _: &TemplateFilter) -> Result<Vec<Template>> { Ok(Vec::new()) }
    pub async fn show(&self, _: &Caller, _: &TemplateRef) -> Result<Template> { later!() }
    pub async fn download(&self, _: &Caller, _: &TemplateRef, _: Option<&str>) -> Result<Task> { later!() }
    pub async fn import_url(&self, _: &Caller, _: &str, _: Option<&str>, _: Option<&str>, _: Option<&str>) -> Result<Task> { later!() }
    pub async fn upload<S: futures::Stream<Item = std::io::Result<B>> + Send, B: AsRef<[u8]>>(&self, _: &Caller, _: &str, _: Option<&str>, _: S) -> Result<Task> { later!() }
    pub async fn remove(&self, _: &Caller, _: &TemplateRef) -> Result<()> { later!() }
}
