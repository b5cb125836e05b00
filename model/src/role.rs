//! Who may do what: the one role that a certificate carries (DESIGN.md, Trust).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::UserName;

/// The role in a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A build node's daemon: opens a session, speaks of attempts leased to it, nothing else.
    Agent,
    /// May look at everything.
    Viewer,
    /// May also build, cancel and change definitions.
    Operator,
    /// May also let agents in and out.
    Admin,
}

/// Not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role; roles are viewer, operator, admin and agent")]
pub struct UnknownRole(pub String);

/// What an RPC asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Anyone who can reach the port: enrolment alone.
    Anyone,
    /// Viewer and up.
    View,
    /// Operator and up.
    Operate,
    /// Admin alone.
    Administer,
    /// Agents alone.
    Agent,
}

impl Permission {
    /// Whether a caller of this role (`None`: without a certificate) may do it.
    pub fn allows(self, role: Option<Role>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Agent => role == Some(Role::Agent),
            Self::View => matches!(role, Some(Role::Viewer | Role::Operator | Role::Admin)),
            Self::Operate => matches!(role, Some(Role::Operator | Role::Admin)),
            Self::Administer => role == Some(Role::Admin),
        }
    }

    /// The role to name in a refusal.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Anyone => "no",
            Self::Agent => "agent",
            Self::View => "viewer",
            Self::Operate => "operator",
            Self::Administer => "admin",
        }
    }
}

/// Who called: taken from the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The certificate's common name.
    pub name: UserName,
    /// The certificate's role.
    pub role: Role,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "agent" => Self::Agent,
            "viewer" => Self::Viewer,
            "operator" => Self::Operator,
            "admin" => Self::Admin,
            _ => return Err(UnknownRole(text.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_permission_admits_exactly_its_roles() {
        use Role::*;
        let roles = [None, Some(Agent), Some(Viewer), Some(Operator), Some(Admin)];
        let table = [
            (Permission::Anyone, [true, true, true, true, true]),
            (Permission::Agent, [false, true, false, false, false]),
            (Permission::View, [false, false, true, true, true]),
            (Permission::Operate, [false, false, false, true, true]),
            (Permission::Administer, [false, false, false, false, true]),
        ];
        for (permission, expected) in table {
            assert_eq!(roles.map(|role| permission.allows(role)), expected, "{permission:?}");
        }
    }
}
