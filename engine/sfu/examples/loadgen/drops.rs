//! What the system dropped because a socket of ours was full: it shows a generator that is too slow.

use rustc_hash::FxHashSet;

/// Datagrams dropped so far on sockets with these local ports; `None`: the system does not tell.
pub fn count(ports: &[u16]) -> Option<u64> {
    let ports: FxHashSet<u16> = ports.iter().copied().collect();
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(std::fs::read_to_string);
    let mut found = None;
    for table in tables.into_iter().flatten() {
        *found.get_or_insert(0) += of_table(&table, &ports);
    }
    found
}

/// proc_net_udp(5): the second column ends with the local port in hexadecimal, the last is the drops.
fn of_table(table: &str, ports: &FxHashSet<u16>) -> u64 {
    let lines = table.lines().skip(1);
    let drops = lines.filter_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        let port = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        let drops = columns.next_back()?.parse::<u64>().ok()?;
        ports.contains(&port).then_some(drops)
    });
    drops.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 0100007F:1ECA 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 41254 2 0000000000000000 12
  102: 0100007F:1ECB 0100007F:1ECA 01 00000000:00000000 00:00000000 00000000     0        0 41255 2 0000000000000000 5
";

    #[test]
    fn only_the_drops_of_ones_own_sockets_count() {
        let ports = |list: &[u16]| list.iter().copied().collect();

        assert_eq!(of_table(TABLE, &ports(&[0x1ecb])), 5);
        assert_eq!(of_table(TABLE, &ports(&[0x1ecb, 0x1eca])), 17);
        assert_eq!(of_table(TABLE, &ports(&[1])), 0);
    }
}
