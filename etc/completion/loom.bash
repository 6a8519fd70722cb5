# bash completion of loom(1).

# What loomd says of its backends; nothing if it cannot be asked.
_loom_ask() {
	timeout 2 "${_loom_command[@]}" backends --json 2>/dev/null
}

_loom_ids() {
	_loom_ask | grep -o '"id": *[0-9][0-9]*' | grep -o '[0-9]*$' | sort -un
}

_loom_services() {
	_loom_ask | grep -o '"service": *"[A-Za-z0-9_.-]*"' | cut -d'"' -f4 | sort -u
}

# The names of the groups; of the members of a group, its slots.
_loom_steer_names() {
	timeout 2 "${_loom_command[@]}" steer list --json 2>/dev/null |
		grep -o '"name": *"[A-Za-z0-9_.-]*"' | cut -d'"' -f4 | sort -u
}

_loom_steer_slots() {
	timeout 2 "${_loom_command[@]}" steer show "$1" --json 2>/dev/null |
		grep -o '"slot": *[0-9][0-9]*' | grep -o '[0-9]*$' | sort -un
}

_loom_steer_verbs() {
	echo 'list show watch explain trace audit history capabilities incident attach detach policy rollout fallback resume freeze unfreeze drain undrain swap weight'
}

_loom_words() {
	local common='--instance --socket --url --token-file --json --help --version'

	case "$1" in
	'') echo "status services backends health conns stats trace reload config doctor decap irq steer exec help $common" ;;
	status | services | health | stats) echo "--watch $common" ;;
	backends) echo "add rm weight drain undrain --watch $common" ;;
	'backends add') echo "--weight --id --service $common" ;;
	'backends drain') echo "--deadline $common" ;;
	'backends rm') echo "--deadline --force --wait $common" ;;
	conns) echo "--client --backend --state --limit --all --watch $common" ;;
	trace) echo "--duration --address --port --proto --backend --drops --sample --count --write $common" ;;
	reload) echo "--reset $common" ;;
	doctor) echo "--config $common" ;;
	decap) echo "--iface --vip --mode --gue-port --pin-path --check --show --detach $common" ;;
	irq) echo 'plan apply show' ;;
	'irq plan') echo "--iface --cpus --numa --root $common" ;;
	'irq apply') echo "--iface --cpus --numa --force --root $common" ;;
	'irq show') echo "--iface --root --watch $common" ;;
	steer) _loom_steer_verbs ;;
	'steer list') echo "--direct --pin-path --watch $common" ;;
	'steer show') echo "--watch $common" ;;
	'steer watch') echo "--interval --count $common" ;;
	'steer explain') echo "--payload --destination --cpu $common" ;;
	'steer trace') echo "--duration --source --port --sample --count $common" ;;
	'steer incident') echo "--output --pin-path --state-dir $common" ;;
	'steer policy') echo "--offset --length --shift --mask --flow-timeout --max-flows --max-indices $common" ;;
	'steer rollout') echo "--canary --force --reason $common" ;;
	'steer fallback') echo "--reason --direct --pin-path $common" ;;
	'steer resume') echo "--reason $common" ;;
	'steer drain') echo "--deadline $common" ;;
	'steer swap') echo "--from --to --deadline $common" ;;
	exec) echo "--listen --workers --group --weight --generation --ready-after --notify --drain-timeout --restart --hook $common" ;;
	help) echo 'status services backends health conns stats trace reload config doctor decap irq steer exec' ;;
	'help backends') echo 'add rm weight drain undrain' ;;
	'help irq') echo 'plan apply show' ;;
	'help steer') _loom_steer_verbs ;;
	*) echo "$common" ;;
	esac
}

_loom() {
	local cur prev words cword
	local _loom_answers=''
	local -a _loom_command=("${COMP_WORDS[0]}")
	local verb='' operands=0 first='' i word

	# Not _init_completion: it is there with the bash-completion package only.
	words=("${COMP_WORDS[@]}")
	cword=$COMP_CWORD
	cur=${words[cword]}
	prev=${words[cword - 1]}
	COMPREPLY=()

	for ((i = 1; i < cword; i++)); do
		word=${words[i]}
		case "$word" in
		--instance | --socket | --url | --token-file)
			[ $((i + 1)) -lt "$cword" ] && _loom_command+=("$word" "${words[i + 1]}")
			((i++))
			;;
		--weight | --listen | --workers | --group | --generation | --ready-after | --drain-timeout | --id | --service | --deadline | --client | --backend | --state | --limit | --duration | --address | --port | --proto | --sample | --count | --write | -w | --config | -c | --iface | --vip | --mode | --gue-port | --pin-path | -i | --cpus | --root | --interval | --payload | --destination | --cpu | --source | --output | -o | --state-dir | --offset | --length | --shift | --mask | --flow-timeout | --max-flows | --max-indices | --canary | --reason | --from | --to) ((i++)) ;;
		-*) ;;
		*)
			case "$verb" in
			'') verb=$word ;;
			backends | irq | steer | help)
				if [ "$operands" = 0 ]; then verb="$verb $word"; else ((operands++)); fi
				;;
			*)
				[ "$operands" = 0 ] && first=$word
				((operands++))
				;;
			esac
			;;
		esac
	done

	case "$prev" in
	--iface | -i)
		mapfile -t COMPREPLY < <(compgen -W "$(ls /sys/class/net 2>/dev/null)" -- "$cur")
		return
		;;
	--mode)
		mapfile -t COMPREPLY < <(compgen -W 'native generic' -- "$cur")
		return
		;;
	--socket | --token-file | --config | -c | --write | -w | --pin-path | --output | -o | --state-dir)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--root)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--backend)
		mapfile -t COMPREPLY < <(compgen -W "$(_loom_ids)" -- "$cur")
		return
		;;
	--service)
		mapfile -t COMPREPLY < <(compgen -W "$(_loom_services)" -- "$cur")
		return
		;;
	--proto)
		mapfile -t COMPREPLY < <(compgen -W 'tcp udp icmp icmpv6' -- "$cur")
		return
		;;
	--state)
		mapfile -t COMPREPLY < <(compgen -W 'udp syn_sent syn_recv established fin_wait time_wait closed' -- "$cur")
		return
		;;
	--duration | --address | --port | --sample | --count | --instance | --url | --listen | --workers | --group | --generation | --ready-after | --drain-timeout | --weight | --id | --deadline | --client | --limit | --vip | --gue-port | --cpus | --interval | --payload | --destination | --cpu | --source | --offset | --length | --shift | --mask | --flow-timeout | --max-flows | --max-indices | --canary | --reason) return ;;
	--from | --to)
		mapfile -t COMPREPLY < <(compgen -W "$(_loom_steer_slots "$first")" -- "$cur")
		return
		;;
	esac

	case "$verb/$operands" in
	'steer list/'* | 'steer capabilities/'*) ;;
	'steer '*/0) _loom_answers="$(_loom_steer_names)" ;;
	'steer drain/1' | 'steer undrain/1' | 'steer weight/1') _loom_answers="$(_loom_steer_slots "$first")" ;;
	'steer rollout/1') _loom_answers='observe shadow canary enforced next back' ;;
	'steer policy/1') _loom_answers='hash weighted random least_loaded source_hash cpu_local wireguard quic bytes generation' ;;
	esac
	if [ -n "$_loom_answers" ] && [[ $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$_loom_answers" -- "$cur")
		return
	fi
	case "$verb" in
	'backends rm' | 'backends weight' | 'backends drain' | 'backends undrain')
		if [ "$operands" = 0 ] && [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_loom_ids)" -- "$cur")
			return
		fi
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$(_loom_words "$verb")" -- "$cur")
}

complete -F _loom loom
