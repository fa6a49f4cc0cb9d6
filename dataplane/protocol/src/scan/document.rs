//! A whole body.

use super::{
    bounds::MAX_MEMBERS,
    fault::{Fault, NotJson},
    reader::Reader,
    value::{Member, Value},
};

/// The top-level members of a body, in order.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    members: Vec<Member>,
    objects: usize,
}

/// A member that decides routing or limits stands in the body twice, so that two readers could read two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is given more than once")]
pub struct Repeated(pub &'static str);

impl Scan {
    /// Reads a whole body.
    ///
    /// # Errors
    /// When it is not one JSON object in UTF-8.
    pub fn read(body: &[u8]) -> Result<Self, NotJson> {
        if let Err(error) = std::str::from_utf8(body) {
            return Err(NotJson { position: error.valid_up_to(), fault: Fault::Utf8 });
        }
        let mut reader = Reader::at(body, 0);
        reader.space();
        if reader.peek() != Some(b'{') {
            return Err(reader.fault(if reader.peek().is_none() { Fault::End } else { Fault::Object }));
        }
        let mut members = Vec::with_capacity(16);
        let mut more = None;
        reader.object(1, |member| {
            if members.len() < MAX_MEMBERS {
                members.push(member);
            } else {
                more.get_or_insert(member.name.start);
            }
        })?;
        if let Some(position) = more {
            return Err(NotJson { position, fault: Fault::Members });
        }
        reader.space();
        if reader.peek().is_some() {
            return Err(reader.fault(Fault::Trailing));
        }
        Ok(Self { members, objects: reader.objects })
    }

    /// All top-level members in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many objects the body holds, at any depth and itself included.
    pub const fn objects(&self) -> usize {
        self.objects
    }

    /// The value of the member called `name`, if there is exactly one.
    ///
    /// # Errors
    /// When there are several.
    pub fn once(&self, body: &[u8], name: &'static str) -> Result<Option<&Value>, Repeated> {
        let mut found = self.members.iter().filter(|member| member.is(body, name));
        let first = found.next();
        if found.next().is_some() {
            return Err(Repeated(name));
        }
        Ok(first.map(|member| &member.value))
    }

    /// The value of the last member called `name`, which is how most readers resolve repetition.
    pub fn last(&self, body: &[u8], name: &str) -> Option<&Value> {
        self.members.iter().rev().find(|member| member.is(body, name)).map(|member| &member.value)
    }
}
