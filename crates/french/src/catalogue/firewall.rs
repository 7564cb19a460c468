//! Managed bridges, published ports and the rules of containers.

texts! {
    "`link={text}` is neither up nor down" => "`link={text}` n’est ni up ni down";
    "`{key}` is not a key of --nic; use bridge, ip, gw, ip6, vlan, mtu, rate-in, rate-out, mac or link" => "`{key}` n’est pas une clé de --nic\u{202f}; utilisez bridge, ip, gw, ip6, vlan, mtu, rate-in, rate-out, mac ou link";
    "`{text}` is not HOST:CT such as 8080:80 or 8000-8010:9000-9010" => "`{text}` n’est pas HOST:CT, comme 8080:80 ou 8000-8010:9000-9010";
    "`{text}` leads from {host} to {inside} ports; both ranges must be of one length" => "`{text}` mène de {host} à {inside} ports\u{202f}; les deux plages doivent avoir la même longueur";
    "write allow|deny in|out [tcp|udp|icmp] [PORT[-LAST]] [from|to CIDR], such as `deny in tcp 22 from 203.0.113.0/24`" => "écrivez allow|deny in|out [tcp|udp|icmp] [PORT[-LAST]] [from|to CIDR], par exemple `deny in tcp 22 from 203.0.113.0/24`";
    "`{text}` is not a rule: {why}; {how}" => "`{text}` n’est pas une règle\u{202f}: {why}\u{202f}; {how}";
    "it begins with allow or deny" => "elle commence par allow ou deny";
    "in or out comes second" => "in ou out vient en second";
    "a port needs tcp or udp before it" => "un port demande tcp ou udp devant lui";
    "`{word}` is not `{wanted}`" => "`{word}` n’est pas `{wanted}`";
    "an address or network is missing" => "il manque une adresse ou un réseau";
    "`{word}` is one word too many" => "`{word}` est de trop";
    "`{range}` ends before it begins; write the lower port first" => "`{range}` finit avant de commencer\u{202f}; écrivez d’abord le port le plus bas";
    "there is a network `{name}` already" => "un réseau `{name}` existe déjà";
    "`{name}` is a link of this host" => "`{name}` est un lien de cet hôte";
    "choose another name; Berth makes a bridge of its own" => "choisissez un autre nom\u{202f}; Berth crée son propre pont";
    "{=subnet} overlaps {other}, which is in use on this host" => "{subnet} recouvre {other}, qui est utilisé sur cet hôte";
    "choose another --subnet" => "choisissez un autre --subnet";
    "`{name}` is the default bridge" => "`{name}` est le pont par défaut";
    "it goes with the last container" => "il disparaît avec le dernier conteneur";
    "the container `{name}` joins {=bridge}" => "le conteneur `{name}` est relié à {bridge}";
    "take its NIC off first, or delete the container" => "retirez d’abord son interface, ou supprimez le conteneur";
    "the container `{name}` in the trash joins {=bridge}" => "le conteneur `{name}`, dans la corbeille, est relié à {bridge}";
    "purge it first, or restore it and take its NIC off" => "supprimez-le définitivement d’abord, ou restaurez-le et retirez son interface";
    "use one of {bridges}, or make one with `berth network add NAME`; bridges of the host's own and macvlan are not supported yet" => "utilisez l’un de {bridges}, ou créez-en un avec `berth network add NAME`\u{202f}; les ponts de l’hôte et macvlan ne sont pas encore pris en charge";
    "a container publishes at most {most} ports, these are {count}" => "un conteneur publie au plus {most} ports, il y en a ici {count}";
    "a container has at most {most} rules, these are {count}" => "un conteneur a au plus {most} règles, il y en a ici {count}";
    "there is no network `{name}` any more" => "il n’y a plus de réseau `{name}`";
    "make it again with `berth network add {=name}`, or choose another bridge" => "recréez-le avec `berth network add {name}`, ou choisissez un autre pont";
}
