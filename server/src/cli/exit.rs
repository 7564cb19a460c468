//! Exit codes (interface.md) and the error lines of the command line itself.

use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use model::error::ErrorBody;
use model::task::{Task, TaskState};

use crate::failure::Failure;

/// This host cannot.
pub const CANNOT: u8 = 6;
/// `berth exec`: Berth's own failure, whatever its cause.
pub const EXEC_FAILED: u8 = 125;

/// The exit code that an HTTP status means, for answers without an error body.
#[must_use]
pub fn of_status(status: u16) -> u8 {
    match status {
        400 | 422 => 2,
        404 => 3,
        409 | 412 => 4,
        401 | 403 => 5,
        501 => 6,
        _ => 1,
    }
}

/// The exit code that the code of a closed WebSocket means: 4000 and a status, or the end of a sign-in.
#[must_use]
pub fn of_close(code: u16) -> u8 {
    match code {
        1008 => 5,
        4000.. => of_status(code - 4000),
        _ => 1,
    }
}

/// The exit code of a command inside: its own, or 128 + N; what fits no byte is a failure.
#[must_use]
pub fn of_command(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(EXEC_FAILED)
}

/// Nobody answers at the socket, or it lets nobody in.
#[must_use]
pub fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let socket = socket.display();
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            5,
            format!("{socket} does not let you in (it is for root and group berth; use sudo, or join the group)"),
        ),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::failed(format!(
            "no console answers at {socket} (it does not run, or has another run directory; start `berth serve`, or give --run-dir)"
        )),
        _ => Failure::failed(format!("no console answers at {socket} ({error}; see the log of `berth serve`)")),
    }
}

/// The connection broke.
#[must_use]
pub fn lost(error: &dyn Display) -> Failure {
    Failure::failed(format!("the console did not answer to the end ({error}; see the log of `berth serve`)"))
}

/// Something was said that the other side cannot mean.
#[must_use]
pub fn unclear(error: &dyn Display) -> Failure {
    Failure::failed(format!(
        "the console and this command do not understand each other ({error}; use the `berth` of the running version)"
    ))
}

/// Writing to standard output or reading from standard input failed.
#[must_use]
pub fn local(what: &str, error: &std::io::Error) -> Failure {
    Failure::failed(format!("{what} ({error})"))
}

/// What a task that is over means for the command that waited for it.
///
/// # Errors
/// It failed, with its code, or somebody cancelled it (1).
pub fn outcome(task: &Task) -> Result<(), Failure> {
    match (task.state, &task.error) {
        (TaskState::Done, _) => Ok(()),
        (TaskState::Cancelled, _) => Err(Failure::failed(format!(
            "{} of {} was cancelled (see `berth task show {}`)",
            task.kind, task.target, task.id
        ))),
        (_, Some(error)) => Err(Failure::from(ErrorBody {
            code: error.code,
            message: error.message.clone(),
            field: None,
            hint: error.hint.clone(),
            log_id: error.log_id.clone(),
        })),
        (_, None) => Err(Failure::failed(format!(
            "{} of {} failed (see `berth task show {}`)",
            task.kind, task.target, task.id
        ))),
    }
}

/// Prints the line of every failure; the first one decides the exit code of the whole command.
///
/// # Errors
/// There was a failure; its line is printed already.
pub fn together(failures: &[Failure]) -> Result<(), Failure> {
    for failure in failures {
        // Only the line is wanted here: the code is given below.
        let _: ExitCode = failure.report();
    }
    failures.first().map_or(Ok(()), |first| Err(Failure::new(first.code, "")))
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::error::ErrorCode;
    use model::task::{Progress, TaskError};

    use super::*;

    fn task(state: TaskState, error: Option<TaskError>) -> Task {
        Task {
            id: "0193b0c0-0000-7000-8000-000000000000".parse().expect("an id"),
            kind: "container.stop".into(),
            target: "web".into(),
            state,
            progress: Progress::default(),
            user: "ada".into(),
            created_at: Timestamp::default(),
            ended_at: None,
            error,
            cancellable: false,
        }
    }

    #[test]
    fn statuses_map_to_the_codes_of_the_interface() {
        for (status, code) in [
            (400, 2),
            (422, 2),
            (404, 3),
            (409, 4),
            (412, 4),
            (401, 5),
            (403, 5),
            (501, 6),
            (500, 1),
            (429, 1),
            (507, 1),
        ] {
            assert_eq!(of_status(status), code, "{status}");
        }
    }

    #[test]
    fn codes_of_closed_sockets_are_those_of_statuses() {
        for (code, exit) in [(1008, 5), (4404, 3), (4409, 4), (4500, 1), (4429, 1), (1001, 1)] {
            assert_eq!(of_close(code), exit, "{code}");
        }
    }

    #[test]
    fn a_command_keeps_its_code() {
        assert_eq!(
            (of_command(0), of_command(3), of_command(137), of_command(256), of_command(-1)),
            (0, 3, 137, 125, 125)
        );
    }

    #[test]
    fn a_failed_task_fails_the_command_with_its_code() {
        assert_eq!(outcome(&task(TaskState::Done, None)), Ok(()));
        let error = TaskError {
            code: ErrorCode::Unsupported,
            message: "disk limits cannot be enforced".into(),
            hint: Some("use XFS with pquota".into()),
            log_id: None,
        };
        let failure = outcome(&task(TaskState::Failed, Some(error))).expect_err("it failed");
        assert_eq!(
            (failure.code, failure.what.as_str()),
            (6, "disk limits cannot be enforced (use XFS with pquota)")
        );
        assert_eq!(outcome(&task(TaskState::Cancelled, None)).expect_err("cancelled").code, 1);
    }

    #[test]
    fn a_missing_socket_says_what_to_do() {
        let failure = unreachable(Path::new("/run/x/berth.sock"), &ErrorKind::NotFound.into());
        assert_eq!(failure.code, 1);
        assert!(failure.what.contains("/run/x/berth.sock") && failure.what.contains("berth serve"));
        assert_eq!(unreachable(Path::new("/x"), &ErrorKind::PermissionDenied.into()).code, 5);
    }
}
