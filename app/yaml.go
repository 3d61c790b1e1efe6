package app

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// node is a value in the file. Of YAML only what settings need is known here: mappings,
// lists and single values. Anchors, tags and directives are refused.
type node struct {
	line   int
	kind   nodeKind
	text   string  // of a textNode, as it was written
	items  []node  // of a listNode
	fields []field // of a mapNode, in the order of the file
}

type nodeKind int

const (
	textNode nodeKind = iota
	nullNode
	listNode
	mapNode
)

// field is one key of a mapping.
type field struct {
	name  string
	line  int
	value node
}

// scalar returns the text of a single value.
func (n node) scalar() (string, error) {
	switch n.kind {
	case nullNode:
		return "", errors.New("has no value; give it one, or remove the line")
	case listNode:
		return "", errors.New("must be a single value, not a list")
	case mapNode:
		return "", errors.New("must be a single value, not a mapping")
	}
	return n.text, nil
}

// Bounds of a file of settings, far above any in use. The parser takes time that grows
// with the square of the number of tokens, and a stack that grows with the nesting.
const (
	maxFileSize   = 256 << 10
	maxTokens     = 40_000
	maxNesting    = 32
	maxListColumn = 200 // of a dash: "- - - -" nests without a line end
)

// parseYAML reads the fields of a file's one document. Errors name the file and the line,
// and never quote a value.
func parseYAML(name string, data []byte) (fields []field, err error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: is not UTF-8 text", name)
	}
	// The parser is other people's code and the file anybody's: a slip in the one must
	// not turn the other into a crash.
	defer func() {
		if recover() != nil {
			fields, err = nil, fmt.Errorf("%s: is not valid YAML", name)
		}
	}()
	text := strings.TrimPrefix(string(data), "\ufeff")
	tokens := lexer.Tokenize(text)
	if err := checkTokens(name, tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	var root ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if root != nil {
			return nil, fmt.Errorf("%s:%d: a second document begins here; settings are one document", name, line(doc.Body))
		}
		root = doc.Body
	}
	if root == nil {
		return nil, nil
	}
	n, err := convert(name, root)
	if err != nil {
		return nil, err
	}
	switch n.kind {
	case nullNode:
		return nil, nil
	case mapNode:
		return n.fields, nil
	}
	return nil, fmt.Errorf("%s:%d: must be a mapping of settings, such as: listen: 127.0.0.1:8080", name, n.line)
}

// checkTokens refuses, before the parser sees them, what it could choke on and what
// settings do not need.
func checkTokens(name string, tokens token.Tokens) error {
	if len(tokens) > maxTokens {
		return fmt.Errorf("%s: has more than %d words and signs", name, maxTokens)
	}
	depth := 0
	for _, t := range tokens {
		refuse := func(what string) error { return fmt.Errorf("%s:%d: %s", name, t.Position.Line, what) }
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxNesting {
				return refuse("is nested too deeply")
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			if t.Position.Column > maxListColumn {
				return refuse("is nested too deeply")
			}
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return refuse("anchors and aliases are not known here; quote a value that begins with & or *")
		case token.TagType:
			return refuse("tags are not known here; quote a value that begins with !")
		case token.DirectiveType:
			return refuse("directives are not known here; quote a value that begins with %")
		case token.MappingKeyType:
			return refuse("explicit keys are not known here; quote a value that begins with ?")
		}
	}
	return nil
}

// syntaxError says what the parser found, without the excerpt of the file that it would
// print: the lines around an error may hold secrets.
func syntaxError(name string, err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil || e.GetToken().Position == nil {
		return fmt.Errorf("%s: is not valid YAML", name)
	}
	why := e.GetMessage()
	if _, _, twice := strings.Cut(why, "already defined at"); twice {
		why = "the key " + shown(e.GetToken().Value) + " is given twice"
	}
	return fmt.Errorf("%s:%d: is not valid YAML: %s", name, e.GetToken().Position.Line, why)
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

func convert(name string, n ast.Node) (node, error) {
	out := node{line: line(n)}
	switch n := n.(type) {
	case *ast.NullNode:
		out.kind = nullNode
	case *ast.StringNode:
		out.text = n.Value
	case *ast.LiteralNode:
		out.text = n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		out.text = n.GetToken().Value // as written: a secret of digits is those digits
	case *ast.SequenceNode:
		out.kind = listNode
		for _, v := range n.Values {
			item, err := convert(name, v)
			if err != nil {
				return node{}, err
			}
			out.items = append(out.items, item)
		}
	case ast.MapNode:
		out.kind = mapNode
		for each := n.MapRange(); each.Next(); {
			f, err := convertField(name, each.KeyValue())
			if err != nil {
				return node{}, err
			}
			out.fields = append(out.fields, f)
		}
		if len(out.fields) > 0 {
			out.line = out.fields[0].line
		}
	default:
		return node{}, fmt.Errorf("%s:%d: is a kind of YAML that is not known here", name, out.line)
	}
	return out, nil
}

func convertField(name string, kv *ast.MappingValueNode) (field, error) {
	key, err := convert(name, kv.Key)
	if err != nil {
		return field{}, err
	}
	if key.kind != textNode {
		return field{}, fmt.Errorf("%s:%d: a key must be a word", name, key.line)
	}
	if kv.Value == nil {
		return field{key.text, key.line, node{line: key.line, kind: nullNode}}, nil
	}
	v, err := convert(name, kv.Value)
	return field{key.text, key.line, v}, err
}
