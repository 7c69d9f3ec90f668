//! From the facts to the messages, for hours.

use std::time::{Duration, SystemTime};

use super::book::{Book, Today};
use super::facts::{Facts, Refused};
use super::judge::{Judge, Thresholds};
use super::{Alarm, Language, Message, Stage};
use crate::guard::Moment;
use crate::net::ClientKey;
use crate::outcome::RequestEnd;

/// Seconds.
const STORM: u64 = 3_570;

fn client(n: u32) -> ClientKey {
    ClientKey::new(std::net::Ipv4Addr::from_bits(0x0a73_0000 + n).into())
}

/// An hour of a storm of fifty clients (half a minute less: its end is in the twelfth window), then an hour of peace.
fn storm() -> Vec<(u64, Message)> {
    let (mut judge, mut book, mut told) = (Judge::default(), Book::default(), vec![]);
    for second in 1..=7_200_u64 {
        let refused = |n: u32| Refused {
            client: client(n),
            address: client(n).address(),
            end: RequestEnd::SelfTarget,
            count: 20 + u64::from(n),
            stalled: true,
            request_line: Box::from(&b"GET http://10.115.5.2/mmtls/ HTTP/1.1"[..]),
        };
        let refused = if second <= STORM { (0..50).map(refused).collect() } else { vec![] };
        let now = Moment::from_millis(second * 1_000);
        let seen = judge.judge(&Facts { refused, ..Facts::default() }, &Thresholds::default(), now);
        let messages = book.tell(
            seen,
            &Today {
                now,
                date: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
                gateway: "gate-1",
                window: Duration::from_mins(5),
                silenced: &|_| false,
                room: usize::MAX,
            },
        );
        told.extend(messages.messages.into_iter().map(|message| (second, message)));
    }
    told
}

#[test]
fn an_hour_of_storm_is_told_in_a_few_messages_that_add_up() {
    let told = storm();
    assert!(told.iter().all(|(_, message)| message.alarm == Alarm::SelfTargetStorm));
    // Fifty clients are one message: twelve windows and an end.
    let firing = told.iter().filter(|(_, message)| message.stage == Stage::Firing).count();
    assert_eq!((firing, told.len() - firing), (12, 1));
    assert_eq!(told.first().map(|(second, _)| *second), Some(1), "at once");
    let counted: u64 = told.iter().map(|(_, message)| message.count).sum();
    assert_eq!(counted, STORM * (0..50).map(|n| 20 + n).sum::<u64>());
    // How many, and the worst by name: 69 a second for five minutes.
    let second = &told[1].1;
    assert_eq!((second.subject.as_str(), second.count, second.window.as_secs()), ("", 2_225 * 300, 300));
    let text = second.text(Language::English, 4_096);
    let [title, count, clients, request] = [0, 3, 4, 6].map(|line| text.lines().nth(line).unwrap());
    assert_eq!(title, "[Warning] 10.115.0.49 (and 49 more) asks the proxy for the proxy itself, 2,225 times a second");
    assert_eq!(count, "Count: 667500 times in 5 minutes");
    assert_eq!(clients, "Clients: 50 (10.115.0.49 × 20,700, 10.115.0.48 × 20,400, 10.115.0.47 × 20,100, …)");
    assert_eq!(request, "Request: GET http://10.115.5.2/mmtls/ HTTP/1.1");
    let title = second.text(Language::Chinese, 4_096).lines().next().unwrap().to_owned();
    assert_eq!(title, "[警告] 10.115.0.49 等 50 个客户端 反复经代理请求代理自身，每秒 2,225 次");
    // Its end is told when nothing has been seen for some seconds, and then no more.
    let (last, end) = told.last().unwrap();
    assert!((3_570..3_600).contains(last) && end.stage == Stage::Resolved, "{last}");
    assert_eq!(told, storm(), "the same once more");
}
