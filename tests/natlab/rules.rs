//! The firewall and translation rules that make a Linux box behave like one kind of NAT.

use std::net::Ipv4Addr;

/// A NAT in the words of RFC 4787.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NatKind {
    /// EIM, EIF.
    FullCone,
    /// EIM, EIF; its clients reach each other by their outer addresses.
    Hairpinning,
    /// EIM, ADF.
    AddressRestricted,
    /// EIM, APDF, port preserved.
    PortRestricted,
    /// EIM, APDF, another port.
    PortChanged,
    /// ADM, APDF.
    SymmetricByAddress,
    /// APDM, APDF, random ports.
    SymmetricRandom,
    /// APDM, APDF, ports that count up.
    SymmetricSequential,
    /// Port-restricted, but no UDP passes.
    UdpBlocked,
    /// Port-restricted, but UDP passes only to ports 53 and 443.
    UdpToFewPorts,
}

/// What a box is told to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) kind: NatKind,
    /// Longest IP packet that passes.
    pub(crate) mtu: Option<u16>,
    /// How many of a thousand packets are lost.
    pub(crate) loss_permille: u16,
    /// Another number gives other ports.
    pub(crate) generation: u32,
}

impl Rules {
    pub(crate) fn new(kind: NatKind) -> Self {
        Rules { kind, mtu: None, loss_permille: 0, generation: 0 }
    }

    /// The whole ruleset of a box whose outer address is `wan`, for `nft -f`.
    pub(crate) fn script(&self, wan: Ipv4Addr) -> String {
        let Rules { kind, .. } = self;
        let forward = self.forward();
        let (sets, pre, post) = (sets(*kind), pre(*kind, wan), self.post(wan));
        // Unsolicited input is dropped in every box: accepted, an early probe of the other side
        // would occupy the tuple that the later outgoing flow needs.
        format!(
            r#"flush ruleset
table inet filter {{
  chain input {{ type filter hook input priority 0; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto ipv6-icmp accept
    iifname "wan" drop
  }}
  chain forward {{ type filter hook forward priority 0; policy accept;
{forward}    meta nfproto ipv6 iifname "wan" ct state established,related accept
    meta nfproto ipv6 iifname "wan" drop
  }}
}}
table ip nat {{
{sets}  chain pre {{ type nat hook prerouting priority dstnat; policy accept;
{pre}  }}
  chain post {{ type nat hook postrouting priority srcnat; policy accept;
{post}    oifname "wan" masquerade
  }}
}}
"#
        )
    }

    fn forward(&self) -> String {
        let mut lines = String::new();
        match self.kind {
            NatKind::UdpBlocked => lines += "    meta l4proto udp drop\n",
            NatKind::UdpToFewPorts => lines += "    iifname \"lan\" udp dport != { 53, 443 } drop\n",
            NatKind::FullCone
            | NatKind::Hairpinning
            | NatKind::AddressRestricted
            | NatKind::PortRestricted
            | NatKind::PortChanged
            | NatKind::SymmetricByAddress
            | NatKind::SymmetricRandom
            | NatKind::SymmetricSequential => {}
        }
        if let Some(mtu) = self.mtu {
            lines += &format!("    meta length > {mtu} drop\n");
        }
        if self.loss_permille > 0 {
            lines += &format!("    numgen random mod 1000 < {} drop\n", self.loss_permille);
        }
        lines
    }

    /// The translation of UDP on its way out; everything else is masqueraded.
    fn post(&self, wan: Ipv4Addr) -> String {
        let udp = r#"oifname "wan" meta l4proto udp"#;
        let remember = "update @cone { udp sport timeout 300s : ip saddr . udp sport }";
        let seed = self.generation + 1;
        match self.kind {
            NatKind::FullCone => format!("    {udp} {remember}\n    {udp} snat to {wan}\n"),
            NatKind::Hairpinning => format!(
                "    {udp} {remember}\n    ct status dnat ip saddr 10.0.0.0/8 ip daddr 10.0.0.0/8 snat to {wan}\n    \
                 {udp} snat to {wan}\n"
            ),
            NatKind::AddressRestricted => format!(
                "    {udp} {remember}\n    {udp} update @seen {{ udp sport . ip daddr timeout 300s }}\n    \
                 {udp} snat to {wan}\n"
            ),
            NatKind::PortChanged => {
                format!("    {udp} snat to {wan}:jhash ip saddr . udp sport mod 16384 seed 0x{seed:x} offset 32768\n")
            }
            NatKind::SymmetricByAddress => format!(
                "    {udp} snat to {wan}:jhash ip saddr . udp sport . ip daddr mod 16384 seed 0x{seed:x} offset 32768\n"
            ),
            NatKind::SymmetricRandom => format!("    {udp} masquerade random\n"),
            NatKind::SymmetricSequential => {
                let ports: Vec<String> = (0..64).map(|nth| format!("{nth} : {}", 50_000 + nth)).collect();
                let ports = ports.join(", ");
                format!("    {udp} snat to {wan}:numgen inc mod 64 map {{ {ports} }}\n")
            }
            // A preserved port would come back as if nothing had happened.
            NatKind::PortRestricted | NatKind::UdpBlocked | NatKind::UdpToFewPorts if self.generation > 0 => {
                format!("    {udp} snat to {wan}:jhash ip saddr . udp sport mod 16384 seed 0x{seed:x} offset 32768\n")
            }
            NatKind::PortRestricted | NatKind::UdpBlocked | NatKind::UdpToFewPorts => String::new(),
        }
    }
}

fn sets(kind: NatKind) -> &'static str {
    match kind {
        NatKind::FullCone | NatKind::Hairpinning => CONE,
        NatKind::AddressRestricted => CONE_AND_SEEN,
        NatKind::PortRestricted
        | NatKind::PortChanged
        | NatKind::SymmetricByAddress
        | NatKind::SymmetricRandom
        | NatKind::SymmetricSequential
        | NatKind::UdpBlocked
        | NatKind::UdpToFewPorts => "",
    }
}

/// The translation of UDP on its way in, where more than an answer may enter.
fn pre(kind: NatKind, wan: Ipv4Addr) -> String {
    let dnat = "dnat ip to udp dport map @cone";
    match kind {
        NatKind::FullCone => format!("    iifname \"wan\" meta l4proto udp {dnat}\n"),
        NatKind::Hairpinning => format!("    ip daddr {wan} meta l4proto udp {dnat}\n"),
        NatKind::AddressRestricted => format!("    iifname \"wan\" udp dport . ip saddr @seen {dnat}\n"),
        NatKind::PortRestricted
        | NatKind::PortChanged
        | NatKind::SymmetricByAddress
        | NatKind::SymmetricRandom
        | NatKind::SymmetricSequential
        | NatKind::UdpBlocked
        | NatKind::UdpToFewPorts => String::new(),
    }
}

/// Which inner endpoint an outer port belongs to.
const CONE: &str = "  map cone { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 300s; \
                    size 65536; }\n";

/// And which addresses were sent to from it.
const CONE_AND_SEEN: &str = "  map cone { type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; \
                             timeout 300s; size 65536; }\n  set seen { type inet_service . ipv4_addr; flags \
                             dynamic,timeout; timeout 300s; size 65536; }\n";
